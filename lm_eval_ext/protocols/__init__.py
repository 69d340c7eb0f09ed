"""How an item is asked: from an item to requests, and from what comes back to an answer."""
