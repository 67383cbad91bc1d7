-- A role and a database for one service, closed to the others. Run by an administrator, once for each of membership,
-- events, benchmark and notifications; PASSWORD comes from a file, so that no list of processes shows it:
--   psql --set ON_ERROR_STOP=1 --set service=membership --set password="$(cat membership.password)" --file service.sql
-- It takes somebody who may create roles and databases, and need not be a superuser.
\if :{?service}
\else
  \warn 'Say which service it is: --set service=membership'
  \quit
\endif
CREATE ROLE :"service" LOGIN PASSWORD :'password';
GRANT :"service" TO CURRENT_USER; -- who is not a superuser may give a database only to a role of their own
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
REVOKE :"service" FROM CURRENT_USER;
