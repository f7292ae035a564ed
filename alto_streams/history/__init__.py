"""What is read from the log afterwards."""
