"""What an engine should work on: statistics of its calls, the plan made of them, and where each call goes. Pure."""
