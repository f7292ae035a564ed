"""What travels: records on topics, what they hold, and how they are named."""
