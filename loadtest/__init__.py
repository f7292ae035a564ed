"""Load tests: each command measures one thing on real brokers and real workers, and says what it measured."""
