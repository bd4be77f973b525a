"""Parts of the data suite that bring their own rows."""
