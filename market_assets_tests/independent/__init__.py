"""A second, independent route to the numbers: from real CSV files with plain pandas, compared value by value."""
