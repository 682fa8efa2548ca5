"""What was found in pictures, in the files that other tools read: label maps, outlines, tables."""
