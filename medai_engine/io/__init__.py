"""Files: weights as safetensors, descriptions as JSON. No pickle anywhere."""

from .files import read_arrays, read_json, read_state, write_arrays, write_json, write_state
from .models import load, save

__all__ = ["load", "read_arrays", "read_json", "read_state", "save", "write_arrays", "write_json",
           "write_state"]
