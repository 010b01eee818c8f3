"""What pytest leaves out here: kernels of Triton can't be imported without it."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["src/likewise/table/triton_*.py"]
