"""What writes the recording of fact checks, from the bundled corpora: `tools/make_recording.py` is the command."""
