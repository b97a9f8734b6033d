"""What results of training tasks teach: demonstrations, lessons, requirements that went unsaid."""
