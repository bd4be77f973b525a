"""What `pylon/store/base.py` and `dialect.py` promise, asked of every store there is."""
