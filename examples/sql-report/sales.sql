CREATE TABLE orders (day TEXT, region TEXT, cents INTEGER);
INSERT INTO orders VALUES ('2026-03-01', 'north', 1250), ('2026-03-01', 'north', 300);
INSERT INTO orders VALUES ('2026-03-01', 'east', 9900), ('2026-03-02', 'west', 100);
