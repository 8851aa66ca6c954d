"""Everything with `.sample(captions, ...)`: the joint model and its rivals."""
