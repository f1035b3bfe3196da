"""The target `jsonl:`: readings as lines of JSON in a file."""
