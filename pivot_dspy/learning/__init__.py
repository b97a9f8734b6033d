"""What results of training tasks teach: demonstrations, lessons, notes about tools, requirements that went unsaid."""
