"""t2i_course: text-to-image models, from their equations to pictures."""
__version__ = "0.1.0"
