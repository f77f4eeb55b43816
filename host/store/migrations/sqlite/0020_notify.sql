-- One process uses the file, so nobody is told of changes. The number is that of PostgreSQL's migration.
SELECT 1;
