
î
s3.protopgoogle/api/annotations.proto"
M
name (	Rname2F
SA
Get.p.M.p.M",êÇ”‰ì#/v1/{name=**}Z:*B
*/xbname0bproto3