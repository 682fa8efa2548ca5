"""The labels of public data sets: ids, names, things, colors. Facts only."""
