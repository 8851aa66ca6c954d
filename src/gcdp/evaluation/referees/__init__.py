"""Networks that read layouts, attributes or text off images that they did not make."""
