"""Pictures as inline SVG, whose colors come from the page's style sheet by class."""
