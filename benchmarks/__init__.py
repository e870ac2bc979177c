"""Every table that the README prints, each by one command."""
