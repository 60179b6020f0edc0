"""Topics of ``mimplug show``: one module a topic, as in ``mimplug.cli``."""
