"""Events: each is there once, its lines are its cost, and every line can be recomputed from its price."""
