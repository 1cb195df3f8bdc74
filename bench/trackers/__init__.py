"""What shows finished trials in the trackers that people have open, a tracker a file."""
