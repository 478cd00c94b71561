"""What surrounds the user's code while a run goes on: an overlay over the user's folders, and its last words."""
