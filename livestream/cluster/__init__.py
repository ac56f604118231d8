"""Who else is there: what nodes tell each other about themselves, and where on the earth a viewer is."""
