"""What tools act on: the contract of an environment, its sessions, and ready environments."""
