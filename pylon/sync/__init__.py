"""Live sync: pulling the log, and the hub that sends commits to readers."""
