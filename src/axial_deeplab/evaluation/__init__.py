"""PQ, mIoU, AP and top-1: the metrics, and the loop over a data set that processes may share."""
