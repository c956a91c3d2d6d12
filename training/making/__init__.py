"""How training data is made from films and photographs."""
