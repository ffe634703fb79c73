"""Images: references, the content store, layers, archives, and images made of a distribution's packages."""
