"""The routes as the gate has them: health, load, who is next, who must wait."""
