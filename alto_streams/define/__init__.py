"""What a pipeline's author writes, and what is inferred from it."""
