"""Pairs of an image and its layout: class tables, stores, captions, augmentation, batches."""
