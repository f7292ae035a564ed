"""What each kind of worker is made of: a stage's, a model's, a pipeline's egress, and the scheduler."""
