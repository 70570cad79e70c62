"""The commands, a file a subject; `xtl.cli` puts them into one app."""
