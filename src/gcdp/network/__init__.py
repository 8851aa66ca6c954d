"""The U-Net: the only thing that learns."""
