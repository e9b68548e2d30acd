"""SynapScale Gateway. One folder is one room; requests flow down the tree (see docs/README.md)."""
