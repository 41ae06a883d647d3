"""Files that people give to pages are read in a process of its own."""
