"""The reference workload: one pipeline, fixed texts and lengths, so that every figure means the same."""
