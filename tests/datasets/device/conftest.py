"""Makes ``toy_device`` importable below this folder."""
