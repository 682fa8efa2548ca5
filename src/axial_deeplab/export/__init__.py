"""Networks as files that other runtimes execute: ONNX, torch.export, ahead-of-time compiled."""
