"""The target `csv:`: readings as rows of a table of text, in the files of the target `jsonl:`."""
