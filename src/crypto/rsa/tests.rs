//! Tests of `rsa`: known answers from OpenSSL, then what a verifier must refuse: keys out of
//! bounds, signatures out of range, and encodings that no signer makes, signed here with a key
//! whose private part is known.

mod pss;

use super::*;
use crate::crypto::from_hex;

const MESSAGE: &[u8] = b"a message";

/// Keys made by OpenSSL. `D_2048` is the private exponent to `N_2048`: some tests need
/// signatures of encoded messages that no signer would make. The modulus of 2049 bits is the
/// case where the encoded message of PSS is a byte shorter than the modulus.
const N_2048: &str = "\
    a669b228305c2cb179001c50b26bda9b5637dd3498bda2c24011989659121976a432544cf9b99697577e01\
    535bb18bda27ff5083072fff5f0fa31ae9c9a3c9c2f27c73e5fa996f9ecd3522897194c06d79372e197b0b\
    1e3590dc65421a82da9aaee795a0caae3aec2fb6e225b960c76fab0dd2f6ad7b433e2041257e71ae7d8590\
    ffd87825b3280dab3fb25c0128fb69469fc66cd9d27fef2f826eb5a0f828e43527d21917b2cdc8e754af27\
    316fdd7584d20369dbe4404809f04058f8b9c48b8ad4a6dcf995f4045fb6f52c3e8c25a39698044bdcd011\
    600358902ef5f62882fd3549eac0d739eaa0f49e4a17576ea433a0fcaf7577e8cfa602ffa16840e20d";
const N_2048_E3: &str = "\
    c1a3f8e1c60883f2a443a371875aee05637bbf2b1efd58bf225d7f2f09bbf6b92436061f7c9a63c8c39762\
    fd8de99b76ae3e9f23c7dd816f9fa557464193cbeb7c4df3c7fc1c7e342d9af90bc971a6f958fc5668f17c\
    8cac9a80a5a1fd652f292b41423d2f3cd841e837ad1d2ffa48ca1f842ac2933d74a9d1b9cd2addbfaee38f\
    0ade5a1d4bbbce37f8fca70c2336db605a1246f30c6d7da13f22ed8ee38dc08ef755f59b17c23129558e8a\
    c4b70c5d4cd9729d960cd2dafb5ac56c7b1572b5100cbc68f6f09d113c7df3c55484f5f9836828bf2c7926\
    8076b047995d48c6ce15c6946ad60ec58a6ed4d7665e8b82ca2ca8321565ab52268304fe8f515949ed";
const N_2049: &str = "\
    0179b3915b90ff3accd21b5273ae06950d0ff3beccf27e5374807575f30d5553d71db3a803ad17653bea7b\
    c82359c7cf5b47a0f48f8c5c5f40d57847cfb2f6b702f7ab2d6027316e53742bb1f414f5f1b352d80b99c7\
    c39591c1d9b2ff36980b11540fe9d49ef223518be44f9111b0979263fdf6db0797b94f592c0c5209b7c745\
    2458350834079b264c601a61e154075a21373127f2e3bbc7b83eb7103de82928d2d04d264097948473eb20\
    bea2bdec50293026a4af4c9caccb21e5c0c8b0d0d7e00046d18fd3a2abd214cbe569940327819bd6beb082\
    b473db750b4c12b887a90c790beb1c3ca7028272fc901e90ba78de1d4b238a0ad0807c9261d27b47c7c5";
const N_3072: &str = "\
    a1bd117aafee46cf9b31fa95ef35e5df59fb31ed0cbc9f831050009b05c23b5d6820aca36b724830049df9\
    c852114034526feb85662927a890158f649b349217d33882bfce05876d339aaf7e43a4d72b2a28f942cb76\
    72df76bd32f66dd86a8f035c20b3f6d8b2dccf5be0ccf23290a4562d7c8b44fafbf0a0f63ea4a38fc02d56\
    804143fbb455321198ae8455ec69444a2cfe6d1d389e6766eec070ea7f2fbfc719fb781d84ada1d9245399\
    2898e768cd3336c615056cef87e90950244a5147e58ac2e5a22db8638a162a4891675cec887e92a86e8b30\
    d6487da9b33ba42b39d298cd610cea5097e727144fab1ba62921cbd6f70d1353a72dbe8a7354a051cdde57\
    f7f7a4611bcd3620e516b0b3553c15f914e0f5962fab527aa9a196db9f9bb43e51b93c33dd5220f0cb0eb2\
    59551d7e407c1b5a84dfa5215cdacf8e74c6a019eddfa823bd8636150fbd5cee1d1a8daa5b2600aaf4b270\
    ba79c8625bd3da56dd3fedb9d49016e47cac43a1eb0b17dde28ad64aa6c079edcc1c54b467c688a9";
const N_4096: &str = "\
    a180e3a632c753580485ad3b7bf53887fcd53bd2e7b92f7d919c8c0f28b9661d176f5f2a5a910a9fc11dd8\
    4ea1f8d7800e470bd5f6913f43a2df9cdff52f90e9127dae5cf994612ec52035d6bca88856a74b7d25b607\
    fcf0a15df869efdba86ab6bc897639f3aa74a603d40694206dffbd36747fa0116c0a532ddd8f5f9c4661f3\
    ece750cc8e2507bff8136703a83c1f67a36882e96698d9684630c25c473f56ebcb0f3bde801fb3bb071a33\
    23698138cf3b3a5c205fabaa6a5c072ed68bdc3fe72453612c1e294fc64369a7c4e79e0a926851e063081c\
    84ad498ddcfbc2234c7468be629114b46fae0d76b72e0bba48832e1d6a0550e71240ea7b8f1ea77dfe214b\
    7f699195d5b12a8c9c456f7e475bb6ba68bc62b5d4bebac2f7ae3cc5a334d5a2190c0254fcf68c619eeee6\
    9ae9e82667708a08a29011f55cadbf7afc1a4d48c7590df7ca3b856aac7f5945d0b6d6bfc8b56068db9c98\
    04b7cc68e5e286bda75cad79b2eced505e573c9727c362aba6db5fa73e7a7b9c135db1ea8bdbac496c72b6\
    54b8fa83360496d7142e3b7fd57e70dbe6b7b69a69ad819694b66893b5a642ddc3c39abe808287c69e04bd\
    40e6ad7975a29e2bae7288489fffe78e73f19245a1790e8a714aa2294b97fb3e37b8080fb5b0da3640bab7\
    eff7a4832d1ec3a6d4d23619da8269bf1c1d3690bdd086af73670700d9e347197c21ad35349fff";
const N_8192: &str = "\
    c459a8e1d71cd78b70c79607ad7e819a076c24707c03feb717904cdce792f78d80281b102648db5e03d781\
    9ca7db71e0654f23d1f3a59dac83a81c5262c0fc3b10011905cb5cc343407ac7284b1e98758e93f5ebd909\
    8ce21d498be340e0d6736147949b2b1271f7682091af7bc17a9d7e3198e8ae40b5f19a9bb0415cdadf94dc\
    c73ab1f81fdebd3f26250fa4ad15ddfbe052f94e13e54ece29431456e3cf4dae5abe4aec8fdaf2273121cf\
    8099de8637cb94560ea533a3a4fe3da7fe9c89305fe62f83c80666a583e48bae60c67a4f9975316636dff5\
    9b0089f6037cca0e954051c52de2edf0ef00337de73ebd0a5dca1e29e608fdf1d04602cd06ede595447e1e\
    64936af9084803b8e2df18ad279f6cbe7f93eda8b87ffc40d22bddfac7cc4aee8dcff67758d009256b6a39\
    c160651c2d09e04e5a2e7d0ab4f9e708d1f18a088b7f555f09b882ea71e3ad6775ee81e2c6245e2ae7b0f1\
    acb323689826a514c45441a1799ff1a27e301877c4e754da75856a20a0f7f3c363c113b327b925db26e84f\
    b350fe904aae4e1af51029493609637a5a0aedd30fb995ed009ef6075fcdef027aa8222c34513d056e4680\
    e525cbae473e550e4588a12df571a170c89e75e7be1359b7cbb16bc747b61394449741655cb525370699e4\
    a45b4b5c438bbfd22397a6a9f639530b36947a3d07e5f88fbe0fc984b85bd053ee2b03e2784303939438cc\
    1fd6178ca9b8a668c46842844c3d8eedc166bf3ed67e8114f31e71b81dac24b800baa260f61a3f4f608939\
    fb3d7709a68e76c156f25d6adbf04f1069f7cf4a5a70a527e7135b875abd7dc5d154e1dad42bb4a7418d70\
    b84fa33ce7ae2af705fecc3ff7624824337acc0def8e4ca3e9168d7e1f7ef08ebfdee1bac94425e9f08c12\
    ba2db25e566c451b53e2fcc3aea08d5bb08da7d8310343f9e46799195fdf2d95332737fab508b66d2b8ffa\
    6e28a0930777cc09364fc8fa00ac2df35d167ad919b33b00a259abb53d3bf73eb410d5b7206595de185a98\
    6c2fff06d04b6de0174b3fb0b88b104eaf0c513f6623df5016ea7d10520ebe27a5d4424b3c10545193c6b4\
    80f5dd2a67f6ee745a773894055084a0a86b92e0779adf818c488f5a7e187219e8920c978d2f70d59edb4f\
    364d1270d7ca95bd2916e44fbf1628e7ac84135ba313517db14486bf46c916b724e8c1fed808b7aedff1ba\
    31dc985e8d4845fe8283cc6fab84730eeb61aa8662b97346dc40b57f5d68f610b24b63c834350fbfcdd12d\
    179694ec005605dce68fc8a542090f9a1f1f24841ac51dc018bcceb50105a81d6303b42f6355fb3e14e328\
    ebdc72ae1ce95450e79021d0e60273743da785ad012840b94e54382fa40da3204b85a0fa449149bcee5ab3\
    f37128f0df3846be8fb14b9cde6d6a2f2e04770560bb13ec9ba5c5fa5f807129cabfa7";
const D_2048: &str = "\
    52dd17aee661c78979b881e0f6ef38b417cb0a7589c707f815020e0a7380cd38240bc1a970c22687e6b3a2\
    42594abfda5a074a966c2a4ccd8f9246b0fa4c7a077e4a5545c3b2ca7f772c49adc9e669a9396e2e20d701\
    92c1d687c04e19b865d51759ceca79922759fb6a6412a7cbd69336c853efac33d0286bd434b0d137b35d53\
    6fa08fef57145b49c568e5101b159d9e211f82b5f6ca7df183f21ef2422af31276a2244a220547a9c312c6\
    0e7ac057799139083ce4b51cde881ba82acfcf670df787f5474dd5d1f615d435f3316dcc6b6b44625cefa7\
    27e04cc999e77ec2f753b172214b6248fb33da287ab392e6b873052d9e5ca87ce4419ec08870713beb";

const E: &str = "010001";
const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scheme {
    Pkcs1,
    Pss,
}
const SCHEMES: [Scheme; 2] = [Scheme::Pkcs1, Scheme::Pss];

impl Scheme {
    fn verify(self, key: &PublicKey, hash: Hash, signature: &[u8]) -> Result<(), Error> {
        self.verify_message(key, hash, &[MESSAGE], signature)
    }

    fn verify_message(
        self,
        key: &PublicKey,
        hash: Hash,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Result<(), Error> {
        match self {
            Self::Pkcs1 => key.verify_pkcs1(hash, message, signature),
            Self::Pss => key.verify_pss(hash, message, signature),
        }
    }
}

fn key(n: &str, e: &str) -> PublicKey {
    PublicKey::new(&from_hex(n), &from_hex(e)).expect("a good key")
}

/// Signatures of `MESSAGE` made by OpenSSL: (n, e, scheme, hash, signature).
#[rustfmt::skip]
const KNOWN: &[(&str, &str, Scheme, Hash, &str)] = &[
    (N_2048, "010001", Scheme::Pkcs1, Hash::Sha256,
        "\
        819b5e1e3ec0365c8e3bb8dd9d0d22628cabb386ab32100b1c68da26afe48550366d25365a7b4e492395d4\
        8d53c01f806249cac79cfa22bac4a7fac0b5ea8a69153258ef0323bb4c44c3e873b7ee65c198ccef9352fe\
        5b5d9e56cfb7dc5820027dfcde00532944ffb1aa624eceb72e8722682444022edb1b26a4c9da52837c6bf4\
        a0586286bad97b9505e777765252f65927ed6a57bd749d39404889839b35ad8d494a5d6953139bac1e60dc\
        f4c00276ea1ae3d236281bbf8f68ea026582a13935dc88b7cff93e34af43e9e183921c26c93e8b73e725ce\
        4664017390059031565df263efb76905d61a71fb68ecc5956f72b4aa56f1fe4d02047ba51ad75929e5"),
    (N_2048, "010001", Scheme::Pss, Hash::Sha256,
        "\
        019ca25b97307c3be97228c62ba55b01b98dfcb3cfc21ec06b60d353790ef4fe43d06c90e60097c6ed2d05\
        ff9a275dc9881e07f917785eecce150d731eb5b4aaf8c38ac622dd61272268470b75836b7e4fb82aa469e9\
        d6109cc58f770046c4f8ccd3cf81697fe537577e0ad614e3005c3b0c16b6f3db073686c6baff8a38847301\
        367cc81dc70abe2111b591fde77565931f31a23dc0f2a8cbcc7620af3fe333bd5e63f8a2f25d6a4fc6fbe2\
        b70f602b9793c6693909736f600beefc051a51397c801a12358f22d5821cfd8d002dc98cdf6925cb75986c\
        107dba7c10e8a9dac82b25de746de282ab0cabdeefea569423009ae308d5e68812372b46483205af63"),
    (N_2048, "010001", Scheme::Pkcs1, Hash::Sha384,
        "\
        165541b930d8b3633a1f0221ab1a7218a486650281a786e224840af9463fed25b30318519447cf5de33510\
        6ec8d9772ca34f33e5e5665ecb9f13f49f029198b08b91192985a07ab2fc1936bb68f4660e276dc6105435\
        7ce6407352a499bd1fd94b4c592689b2490b90ac00b92a3d6c7fb2f35ccce9a004159b2a2bdc91fa309720\
        7083ae75e1a85fab1feac521179dcf4871f776955ff9b902296b837dad4edda58eca179b410418746ac425\
        ee24bfebe9e0f37fc15e9bea47ce0cec3e96050fb0329cb20636b8210e5415ea3743f9502f319a42bceb11\
        1ec396cf0ac05135e21a8be43f8859d469b40930f83cc7dda0b0cb74cdc4225c91b913554b4d7a65ad"),
    (N_2048, "010001", Scheme::Pss, Hash::Sha384,
        "\
        7683915a2415cf3833d529e9e81dc70aef4acfde588532096e25bbb70267275337d813316bd6c86131f488\
        32ca616e2b1cc4ae8fd1b16ca191f913bbfb76afdf757dea411e11643956f71467a2f066714a0558beffd5\
        c52913ea753a1d7de092b38369b0a1a401f50029598992d125ae859f9268edd8fc07ffb7054593c94977ed\
        b4938f0850ce82c1aeec9b960c748d4cda18e1c29db6ea4bd38fd9821c95a8126772745d7704e57479652e\
        3aefe73e3eaa2c3b863c30e1e31d6423ecc710fb19778f06bdeef7c408bb60a049a959ad5ce67fd5daec6c\
        26d210cd7d0cc0a705132c23781757af45f6398fcf6e80b0a5c96315cd249312ace53faacbfc199e23"),
    (N_2048, "010001", Scheme::Pkcs1, Hash::Sha512,
        "\
        7a09f52cfd9f3c09b532e6f85baa117448ecf6d5e9018ecf7f2230b2ef24baffd1aed408d7e705284bdc6e\
        822d7cadf5ac8e6ef59017c9dd5b2ff6692f3025525b146b3b9cc5250a8502e4b7b8b89c0a830a50719a23\
        69115d75d227607041a027635c18cec84130364fa9998d12b6bdbc8bd0fdd6c0731be9e11fa9bd04cf3e6f\
        19ba4924a2b97ea23aad5bb27f4ad6b11da3723a910c49490298076fa4e44f991b4c5543b36755b775035d\
        ab7546b84d91846388d614127c7cb6f1e3b2a95ba782e77b8e53201fb8a3b3137550dbdf243a4439a48857\
        5ffb8155db54f2fbe4973af25c7956b75822efd032ce9e6639696f44f8eee3010733f8a94dd6b60b56"),
    (N_2048, "010001", Scheme::Pss, Hash::Sha512,
        "\
        98bedc25eb719d58ec107737cffdb7f1468c121daf33a4f9764d8c5bf3afaae72ab5fc5f2be0b3ee86f8cb\
        0f9aba2c8fde97f4d0053ac9b19b36f44385ddd859d56792941d3352fb4601ba12bb73978d93abcdf29a94\
        2d7281de8e7927a381f51c0129f466f208e4fabd8cdcdd7fd8d71632da01e346648a89c358a1dfc852bb2e\
        9f40b9bc5d975e87f1c0df09a8a6a5e2421abbe4804dfaf0c3a6bd1462be729bc04bc4f4e2b1de7dcbd1dd\
        4972cd1a83103cfb460b52af65d541f1cc5264f8881a16edb4f89e1149fe06c110e63396aa2a6bd4cc18cb\
        a6e10782365ec333920f86d62c28019f3ad278d1f98bc0a2240858444bfe9f7f64ab3b1a13acda73d2"),
    (N_2049, "010001", Scheme::Pkcs1, Hash::Sha256,
        "\
        00f5c6d24ebc4e4c14473fc357f3a1c3af6651b526b767a5c8b172ad2a37e5c70e7f0a909016bc611e43d3\
        da1f6b53e5aa2db14c96977acb03f1ce66da525a4450f651cd87d5194e7144df44ede21fc52ac6aad975a9\
        a6f3a84a14f08898b9fccaa516d7203a8f13b75563123d958221f7a82c033ccf00188910cc9cd922547fd5\
        229da0e1db9f4ef350603e0e7a23027548263dd9034ce35ef915af0818cd70c3499d098f3f4512779b9050\
        44d20d9aa23e6053c962a8b3291111673adfd1049f106e9c15c3ea6fb58b3523de470a4116fcd5b29c3bba\
        18631c8b0d4893f133cac02c974a3bde7afc07981ac75627dae75491bad4abbdd76151a5a53f3cdf9df2"),
    (N_2049, "010001", Scheme::Pss, Hash::Sha256,
        "\
        0147eddfe59d3cc6461e99f59adf42747c53906562e8e15d04f224478fed5c9aeadb38b8dfd359900d9b12\
        6e556243a275a9cea5f6dde8735c8df6c775191546a76bf7a51703a086a9c582d7778eb32559f80e5beef2\
        01021efc303093c723d3c6fa00a7fb702971f5088d3da2c1966dbe680bdbeee7b48f105a0d0a7d3700d769\
        7bb91f28789691325290f902a3e64398c6c56e2b3cdb13c0e2a5ca5c9d59b997e710a91144fc6354d137c6\
        28bfcb1ce199a244d64ee7fae8488af92e22e305c2674f542369cd735abccf2b97e9b252bb5f47b7362bbd\
        e9326ba61311128cabcbc9d409b6280a51b6d636a686136d5e19d652c05cadb648ece65ab860cb6a0f92"),
    (N_3072, "010001", Scheme::Pkcs1, Hash::Sha384,
        "\
        9d407591d4d3b9684f2c47a326fa6b9f6853a9bd71cb4314913af8ed6c50272612f7ed3d35ad7029f8d398\
        6eecb096a8720ae9f17f0e45c6acf665e94924f4a709eefdaf71b4fbea592e81d9895a2c0fd44f6c165d1a\
        af26b2c65856909a755e5bfef04a552bdf781c21628fe418d317c9de8f6da3181648e1a47eedaaaf87d4fb\
        c1e6cb9f9a5702c05a001106c3a6d61a523662ed9a6027a6ef597941c834f15e7e50843b8ae980183c606f\
        1076bcc8b755c772c11721bef6252a04c8c0c6a38ef65bb5526a0f4007ac5a3f9ac5ffe7b4543c170c6321\
        99a279f57246312fa10200a9b0290b0ea2b3bc91c1f3154c6c04baf9dfa16ef4fe3f440c65e80ede904c6b\
        4320baed193486705b0fd9051d4106d36e123171311abc029cb2e5f64b04f29429da8792c833165b52019d\
        20a2caef00224491f51e7edcb682515e7db2c25bc1366132b92f793b338866e045a654012b8277c3ddd214\
        5fc9a1cc554ef5d7fc8ca0aeed68aee5f06387c2211a0db64b350b8d60201fe4a74b3f6b56bef537"),
    (N_3072, "010001", Scheme::Pss, Hash::Sha384,
        "\
        4ff1a4b8f05ba5549771e023006b278be8c42f57e38ebd9fb95d6fae6dbe1473ac69537d5bfe02962e7556\
        229273adc1299604fe626b68f584e1faac99ed3b6795707a379a8ac2b15b493d88bc8afd1509e8304d16bf\
        527b929804dce9ac7b526a6480767d49ac2a994c43cffc98eb2a9ee462aa42216d7d723d4806ff04d9be1f\
        7aadaa2346c811e0fb7f73e9a0a4d4f2897b2a4c64dc6630659ad030a70a78acc49ea3f16f0b01e9204f66\
        9961fa8bbf075110979f48a5ddb928713f8ca312b55217bd97e2b5e540db5f44f17f386881238c178f48fb\
        3ecd395409c9c369770c6bb31b55ff5dca6c9ab0295770482146432227f4a7bf2a9b58121694c1be4932d5\
        78d2a642d3677e85a6113eea1fb8ea4cdaefeb5199ebdaf65c181b1b4be3ca895aae8b32118d3fd777ae64\
        45845c29c28a7d0e0888b126a4ea12e4bdecfa93b1ae23c664a204d43dd7a1298b53581c00cd15e2a19898\
        312cc81352453b5d3f1dc87401f72fe7ffdbc5b136414f22271eb730cb0d6dc5a33c814e1cc8c7c7"),
    (N_4096, "010001", Scheme::Pkcs1, Hash::Sha512,
        "\
        092748700dfb443ccbdc385e1d69bb8cb32d291427d3440b4cb0648d14c0d31edc7b289f18e71f4c268085\
        f97be1373a97bc2b395dbd7be7c4c34917c3cadd53893c1b70603bf457f09f925b96fe6bccc621b9c3c7e3\
        d979f0cf8113675cb25ecc9a116ebe1036ec4fc0d3f628484216463b1087c57b2f4159dcc07f9c01e6a051\
        79a10004fe63e47fca500e42d52e924381fb48c3ae0ea83c018fde612a883b715688d757236fd0e15f65d1\
        83edb83cf960ded8d9ffa9ae5e5e9ee5199b9f0493d7e682d63a6e99dc4e0a1d34f1f8badd907f8702c911\
        96d0247e0e36958cfc23f1a5f1b4dcac9f2a4fd7b170cd3c9f16088db58b1754e424dcbfb5debeb89ec70c\
        5a0503dc7ac492e824a20ce1a792d128d8fbe4abcef20d4601f267c84aebc5a89163b7255a78ec3bdc7292\
        d414b024631f0785e66d457b41c52cd9b29dbe4357e23a4b6f239af8eae9556ef77118666686ee0bd2de06\
        0ba34ed0168b301364c47b951ce63951895ef3c73e25706ac30f9a735b5789a9541829b5ae7c27424f7f90\
        b6835963c1f5e9c01bcdde8a1a47387bd45e72b7949606bb692b0bc654a2e25c371f03ce7445ef6beee992\
        b80735e118644360907aaca1dd32131b53e39f4df38564f2773e36ff224bf8a1b3a15f6b8bfac06ed40e20\
        22158ffcd5a6940e3d54d82b2e08138a318975ddeb3eb8c379c2f2a9bfcf2a2bcbab1949e2de17"),
    (N_4096, "010001", Scheme::Pss, Hash::Sha512,
        "\
        674eaff9188cf0950e315bfd57bbe5bbb4ad95e3e39d7f04013a16ae5a218747a0373a7d543a4e5d99ca00\
        f1f0a55994b3f23723cbfc9d0699a9b19fb7f5d3687df953fce32196b8324810f670c5a260d468bfff7a90\
        e5a1c2f4f69618534a8e7ed0955d24275fe5c81fe13927c8792223f791a8b78de86a2eb4bf8fb64e3f4200\
        d90ea31e498e7d0da8316587d2e8e06911991d5298088e731e542dcc68dc0fdf39e94ff9fe004ef11df4cb\
        4d7bfb55a0e66272915c8a49d784a34d34d8c577e89ce6b8219789c414c803921c29ccb804da333f72d653\
        c6c6aed7d27697b87ec81d47bdb5d7cd0826c106ac9f88bbadc8edd7f949bd7e146c7cbaac855baef52179\
        15c75d112f7fc5c4703c2c83566879ea4e11c411109f1809863b18b0b7d789c3bac21c33ca8f58be425a6c\
        6c153cefcff5d73af02d268199ddc98a9202b30ef3737633664cb0cb36384ca7455487c4037160d7e84492\
        363db9ff49bd846305759995a2b99755f84a15515659fe1a8babe8b9bf63c222dbf6e9273ebbfe746dc81d\
        2182a7425f14b512c776ecfece7e57b4e9e61e81743f6b162d6408ebc61dfb4cf29fc50d8f5867613262a2\
        28b03a77aa94deca1cde81cfc282b93916b45bd9a16c3c3e9316b4639473616b5d8f5b3fac0159184a2a31\
        a2e7b98939674d5a38f16de31d5baaabbb3e1da3273c5809b15549cbe6632dd556a5cf55a62f72"),
    (N_8192, "010001", Scheme::Pkcs1, Hash::Sha256,
        "\
        7ac13e94a2602f5346905bfcc579806c856ab60e631451977fc02df03372541e4dd6c0c11b4d3291d53b69\
        1af13ec0f91f532ab0e756b1787dbc718dc12e965fa22002952e7741eb8895940b00bf3e6b687add1f572c\
        d6cdde266bfa5e59e3442e39892a3ea99fe5d2c3ad37482af42c068c1c1f1f622a2ec9d974e47b09c628c8\
        7a8cdefc00e16279bc90f44b10e92fb51219845799b6a64eda05d312f67389eebcdef4f429a4080676c133\
        4bb664d9cfcf0798990376200be56ae9c6f50d97357272267042ae5678bf3b37e1462e49c6afae9c38caa9\
        6181cc25f3146bf7817f77c0f151d367d4a04d7f63ff23ad0eb54b432bd314cfdbed7c9b306dbe85e10cef\
        42def2c9776df5e8a1d6723b4a0eff5f4a77d5c13ea9314a216d4f393044e83e8d76ef06c52116a9ae4f98\
        2c7e3e74fba3c94bf830336b049324c106d341ac3ad889897daa2ad6dd017ce6a7b370b3b1c1824be0c2c7\
        ddfada0aa0b7093ab9e6048a8cf0eed575d7c35e1765f182ab2a91f740493305111f81b7934a4973fa19e4\
        994a2440ffc6feb7da8b5645225f380461c98539671754e725ad66ef7922467f765750c4fbe41cc99eb29f\
        9911ec54ca64f4323594066620364cd8cf7925f58e047265350fc30feff924b9007a80a960060e62adea8e\
        a00dba1e654560672c634b9411a33df572825d9275a6d99d421f92e0b72e57fdc5e9684954842ad0aa71ed\
        9711a29dc609b6c6fa69d63816cceeb33c5bdb490a52e93702c60d3332db0c32f7747b4c032036ca6e9f99\
        ca8f552ff26e096886d63410b49312fd9f178380a08855c8319926487c47dd8aa991b37eb2a252ed6ff407\
        f2de422c4f46a16bd087261435cf3c3668de753412a73cc00ef39538e113e438ce9ffd79c36c954778db14\
        29f18d9638aa8fd4f53ec3745b36d8fe4df99d68eed58ce1cab7f13b4137b5f59d80f1f07027799ad649c7\
        c7e16809aad25dcb199e16cf747b19047ed4d0bf213e3e6073c35b31179e58399c78683b1e1d95e6678da6\
        2af10963555448a200bec320447e47d95118f1c0507a1edb64643a60ce3cfa0dc766ffbfd2dd712cdb96e2\
        f3b20839bb479dea65c3c1aabc38998c056f27ad3d153ee8d068caa4b6e182a3f44b4f7719d31c66293434\
        b7686a2cea52f691ac0f081075dce1cf4c1d39ffed92350736f0946d3b2d828fef5e8b90d773c2cb5edb9d\
        4438cfc4963e56d75da8e8026cca48c4aa284e6c205b8483f3cac9f14d394bfb6fe5b45868210fb27a2001\
        23496dcc52a7ff62f30aa38e2b767727124bf938ba39e4c6b3ae00808919aa0306668b8c6016399da42316\
        c2564647c937720d4d068cd366ccbc48e6cd8cf4142dfec7986599bac325e769936f98252cdb419c9200cd\
        2a5339cdf17ddf553234d870c483461b082ae0a7e09bb82160bb5e91869007bb448805"),
    (N_2048_E3, "03", Scheme::Pkcs1, Hash::Sha256,
        "\
        bef12e16505b37e4da4812782c515fe3e17f16d9ad658e46204bca6083494f98a7513a445b2888a6fae53d\
        430f4cc07a645709797bfe12a631d5ca041bcb8ff5b910025ad9447439165f36ace7e30589debc3f9cbe09\
        4c7a3f8302cd4a5fd145038271000255b954ca457184bf47f3a655ac375093ef074807db28cdc9fa9d1586\
        f764e652b6432c0cb781ac708a5f50e45e6d85c281b357ab164eec130ba4d9f4525affc35eaaa446a91d3d\
        c55e5c3a69faec2e0fc359bf2d0688995d571da11642f0626b83516f542c5038d1a322e9bdcd8b668c39bf\
        7ed94d9bed1b02b44405b49f1af4155af3de76705de08991303ea72e55148ae16944aa4a8cbbecc833"),
    (N_2048_E3, "03", Scheme::Pss, Hash::Sha512,
        "\
        41a3d10a135fd604cd6c5ecbe7678e1e750ca824aa4d14971815aad96387846a7619eb6dc7cfe9acdb12a5\
        7e4d3e741b1ad07b1cb8c32d99e48c75611af7f061cf980d15309e0a001fdc72848a767c3b70c6123dce86\
        8757f47f95f6fbe3a182696eef7ab5101b5386389de82bb09d649b65b062a2799fcc0fcaad4fbed3167149\
        ee5a3577755532ba1a8c35dd2ab838167c385fa6fd20ca368c1b70cc3e7a21398ff91133f9255bbcec1df1\
        7d69ccfc223820cbc063fc93ed4ed04efa2b391b9088a4046c0993be86abe16a9323f4aaf7f4c1e10d2557\
        ab09764a448f06869d91e9c144723bc95f293f8e87152dbeb97c04c3d3a7add88b83da4006ea761949"),
];

#[test]
fn known_answers() {
    for (n, e, scheme, hash, signature) in KNOWN {
        let key = key(n, e);
        let signature = from_hex(signature);
        let name = format!("{} {e} {scheme:?} {hash:?}", key.bits);
        let parts: &[&[u8]] = &[&MESSAGE[..4], &[], &MESSAGE[4..]];
        assert_eq!(scheme.verify(&key, *hash, &signature), Ok(()), "{name}");
        assert_eq!(
            scheme.verify_message(&key, *hash, parts, &signature),
            Ok(()),
            "{name}"
        );
        let other_message = scheme.verify_message(&key, *hash, &[b"a massage"], &signature);
        assert_eq!(other_message, Err(Error::BadSignature), "{name}");
        for other_hash in HASHES {
            for other_scheme in SCHEMES {
                let same = (other_hash, other_scheme) == (*hash, *scheme);
                let expected = if same {
                    Ok(())
                } else {
                    Err(Error::BadSignature)
                };
                let result = other_scheme.verify(&key, other_hash, &signature);
                assert_eq!(
                    result, expected,
                    "{name} as {other_scheme:?} {other_hash:?}"
                );
            }
        }
    }
}

#[test]
fn keys_out_of_bounds() {
    // A modulus of so many bits: all ones, or the lowest such number that is odd.
    let ones = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] = 0xff >> (8 * bytes.len() - bits);
        bytes
    };
    let lowest = |bits: usize| {
        let mut bytes = vec![0; bits.div_ceil(8)];
        bytes[0] = 1 << ((bits - 1) % 8);
        *bytes.last_mut().expect("not empty") |= 1;
        bytes
    };
    let mut even = ones(2048);
    even[255] = 0xfe;
    let good = ones(2048);
    let key = |n: &[u8], e: &str| PublicKey::new(n, &from_hex(e)).map(|key| key.bits);
    for bits in [2048, 2049, 2056, 3072, 4096, 8191, 8192] {
        assert_eq!(key(&ones(bits), E), Ok(bits), "{bits}");
        assert_eq!(key(&lowest(bits), E), Ok(bits), "{bits}");
        let padded = [&[0; 9], &lowest(bits)[..]].concat();
        assert_eq!(key(&padded, E), Ok(bits), "{bits}, padded");
    }
    for bits in [2, 3, 512, 1024, 2047, 8193, 8200, 16384] {
        assert_eq!(key(&ones(bits), E), Err(Error::BadKey), "{bits}");
        assert_eq!(key(&lowest(bits), E), Err(Error::BadKey), "{bits}");
    }
    assert_eq!(key(&[], E), Err(Error::BadKey));
    assert_eq!(key(&[0; 256], E), Err(Error::BadKey));
    assert_eq!(key(&even, E), Err(Error::BadKey));
    for e in [
        "03",
        "05",
        "11",
        "010001",
        "00010001",
        "7fffffff",
        "01ffffffff",
    ] {
        assert_eq!(key(&good, e), Ok(2048), "e = {e}");
    }
    let bad = [
        "",
        "00",
        "01",
        "02",
        "04",
        "010000",
        "0200000001",
        "8000000000000001",
        "010000000000000001",
        "0100000000000000000000000000000001",
    ];
    for e in bad {
        assert_eq!(key(&good, e), Err(Error::BadKey), "e = {e}");
    }
}

#[test]
fn signatures_of_another_length_or_range() {
    for (n, e, scheme, hash, signature) in KNOWN {
        let key = key(n, e);
        let signature = from_hex(signature);
        let n = from_hex(n);
        let bad = [
            vec![],
            signature[1..].to_vec(),
            signature[..signature.len() - 1].to_vec(),
            [&[0], &signature[..]].concat(),
            [&signature[..], &[0]].concat(),
            vec![0; n.len()],
            [&vec![0; n.len() - 1][..], &[1]].concat(),
            n.clone(),
            vec![0xff; n.len()],
            // Longer than anything computed with.
            vec![0x01; 5000],
        ];
        for bad in bad {
            let result = scheme.verify(&key, *hash, &bad);
            assert_eq!(result, Err(Error::BadSignature), "{} {bad:02x?}", key.bits);
        }
    }
}

/// A signature plus n is congruent to it, and as long where the modulus does not fill its
/// first byte; it is out of range all the same (RSAVP1, step 1).
#[test]
fn a_signature_plus_the_modulus() {
    let n = from_hex(N_2049);
    let mut ran = 0;
    for (_, e, scheme, hash, signature) in KNOWN.iter().filter(|row| row.0 == N_2049) {
        assert_eq!(key(N_2049, e).bits, 2049);
        let mut sum = from_hex(signature);
        let mut carry = 0;
        for (byte, addend) in sum.iter_mut().zip(&n).rev() {
            let wide = u16::from(*byte) + u16::from(*addend) + carry;
            *byte = wide as u8;
            carry = wide >> 8;
        }
        assert_eq!(carry, 0, "the sum fits");
        let result = scheme.verify(&key(N_2049, e), *hash, &sum);
        assert_eq!(result, Err(Error::BadSignature), "{scheme:?}");
        ran += 1;
    }
    assert_eq!(ran, 2);
}

#[test]
fn every_bit_counts() {
    for scheme in SCHEMES {
        let (n, e, _, hash, signature) = KNOWN
            .iter()
            .find(|(n, _, of, ..)| *n == N_2048 && *of == scheme)
            .expect("a row of that kind");
        let key = key(n, e);
        let good = from_hex(signature);
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let result = scheme.verify(&key, *hash, &bad);
            assert_eq!(result, Err(Error::BadSignature), "{scheme:?} bit {bit}");
        }
    }
}

/// RSASP1 (section 5.2.1) with the private key of `N_2048`.
fn sign(encoded: &[u8]) -> Vec<u8> {
    let uint = |bytes: &[u8]| Uint::<32>::from_be_bytes(bytes).expect("it fits");
    let n = Modulus::new(uint(&from_hex(N_2048))).expect("odd");
    let m = uint(encoded);
    assert!(m.is_below(&n.value), "the representative is in range");
    let s = n.to_uint(&n.pow(&n.to_residue(&m), &uint(&from_hex(D_2048))));
    s.to_be_bytes(256).expect("it fits")
}

#[test]
fn pkcs1_encodings_that_are_not_the_one() {
    let digest = digest(Hash::Sha256, &[MESSAGE]);
    let digest = digest.as_ref();
    let info = |hex: &str| [&from_hex(hex)[..], digest].concat();
    let good_info = info("3031300d060960864801650304020105000420");
    // 0x00 || 0x01 || padding || 0x00 || info || trailing, with as much padding as fits
    let encode = |info: &[u8], trailing: &[u8]| {
        let mut encoded = vec![0x00, 0x01];
        encoded.resize(255 - info.len() - trailing.len(), 0xff);
        [&encoded[..], &[0x00], info, trailing].concat()
    };
    let good = encode(&good_info, &[]);
    let changed = |index: usize, byte: u8| {
        let mut encoded = good.clone();
        encoded[index] = byte;
        encoded
    };
    let separator = 255 - good_info.len();
    let cases: &[(&str, Vec<u8>)] = &[
        (
            "no NULL",
            encode(&info("302f300b0609608648016503040201 0420"), &[]),
        ),
        (
            "an empty SEQUENCE for NULL",
            encode(&info("3031300d060960864801650304020130000420"), &[]),
        ),
        (
            "a longer NULL",
            encode(&info("3032300e06096086480165030402010501000420"), &[]),
        ),
        (
            "a long length",
            encode(&info("308131300d060960864801650304020105000420"), &[]),
        ),
        (
            "a long inner length",
            encode(&info("303230810d060960864801650304020105000420"), &[]),
        ),
        (
            "the name of SHA-384",
            encode(&info("3031300d060960864801650304020205000420"), &[]),
        ),
        (
            "the name of SHA-1",
            encode(&info("3029300906052b0e03021a05000420"), &[]),
        ),
        ("no DigestInfo", encode(digest, &[])),
        (
            "a digest alone in an OCTET STRING",
            encode(&info("0420"), &[]),
        ),
        ("a byte of garbage", encode(&good_info, &[0])),
        // Bleichenbacher's forgery for small exponents: little padding, much garbage.
        (
            "all garbage",
            encode(&good_info, &vec![0xa5; 200 - good_info.len()]),
        ),
        (
            "seven bytes of padding",
            encode(&good_info, &vec![0x00; 256 - 10 - good_info.len()]),
        ),
        ("the digest cut", encode(&good_info[..50], &[])),
        ("block type 0", changed(1, 0x00)),
        ("block type 2", changed(1, 0x02)),
        ("a first byte", changed(0, 0x01)),
        ("a zero in the padding", changed(100, 0x00)),
        ("padding of 0xfe", changed(2, 0xfe)),
        ("the last padding byte", changed(separator - 1, 0x00)),
        ("no separator", changed(separator, 0xff)),
        ("another digest", changed(255, good[255] ^ 1)),
    ];
    let key = key(N_2048, E);
    assert_eq!(
        key.verify_pkcs1(Hash::Sha256, &[MESSAGE], &sign(&good)),
        Ok(())
    );
    for (name, encoded) in cases {
        assert_eq!(encoded.len(), 256, "{name}");
        let result = key.verify_pkcs1(Hash::Sha256, &[MESSAGE], &sign(encoded));
        assert_eq!(result, Err(Error::BadSignature), "{name}");
    }
}

/// Computed with another implementation; the mask ends inside the second block.
#[test]
fn mgf1() {
    let mut mask = [0; 50];
    mgf1_xor(Hash::Sha256, b"bar", &mut mask);
    let expected = "382576a7841021cc28fc4c0948753fb8312090cea942ea4c4e735d10dc724b15\
                    5f9f6069f289d61daca0cb814502ef04eae1";
    assert_eq!(mask[..], from_hex(expected));
}
