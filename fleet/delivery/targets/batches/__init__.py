"""The target `batches:`: readings of all sensors in files of some thousand, each whole from the beginning."""
