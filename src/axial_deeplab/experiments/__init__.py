"""The paper's figures for any weights and data: stress test, loss curves, attention maps; the demo."""
