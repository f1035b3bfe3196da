"""Records: the shapes in which a reading is written to files, brokers and servers."""
