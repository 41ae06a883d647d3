"""What this node hosts: its learnwares, their policies, and what others ask for."""
