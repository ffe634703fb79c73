"""Copying files into and out of containers, by a process of its own that lives in the container's file tree alone."""
