"""The pages of docs/ do what they say: their blocks are run as they stand."""
