"""Pictures as inline SVG; colors come from the page's style sheet by class."""
