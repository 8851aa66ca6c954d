"""Small worlds that tests train on, and exact answers by enumeration."""
